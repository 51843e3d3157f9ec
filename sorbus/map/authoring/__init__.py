"""Making a map: discovery, proposals, drafts."""
