"""The program in an agent pod: runs one Claude Agent SDK session and reports how it ended."""
