"""What every source without a log has in common: compare with the topic, delete with proof."""
