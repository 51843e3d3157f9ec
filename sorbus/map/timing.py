"""When a flow runs: `real-time`, `every 15m` or `cron 0 2 * * *`."""
