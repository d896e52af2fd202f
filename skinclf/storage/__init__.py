"""Folders on local disks and object stores: names, contents, owners."""
