"""One module a page, or a few that belong together: `routes`, and a `section` where it is in the menu."""
