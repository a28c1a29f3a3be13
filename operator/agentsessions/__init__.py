"""The agentsessions operator: an AgentSession is a durable conversation with a workspace; pods come and go under it."""
