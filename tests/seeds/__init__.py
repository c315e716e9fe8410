"""The seed documents' own client examples, against running services. README.md lists each one."""
