"""The command line: the frame that every `sorbus` command hangs in, and the commands that make a first map."""
