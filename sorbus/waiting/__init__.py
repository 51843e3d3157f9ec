"""The waiting room: records that can't be delivered yet, and go on by themselves when they can."""
