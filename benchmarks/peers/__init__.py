"""The programs amp is compared with, one maker of each per file."""
