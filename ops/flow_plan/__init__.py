"""`sorbus plan FLOW`: what delivering every record of a flow would do, found by a dry run of the delivery itself."""
