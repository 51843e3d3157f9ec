"""Process steps: records of one data type make records of another, from topic to topic."""
