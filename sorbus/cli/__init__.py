"""The command line: the root that every `sorbus` command is added to, and the commands that create a first map."""
