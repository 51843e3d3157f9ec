"""Looking at descriptions of applications, and at an application through one."""
