"""A stand-in for the model: a Messages API whose answers are scripted by the prompt. Test only.

It owns the wire format and the scripts; it must never log or return what a request contains.
"""
