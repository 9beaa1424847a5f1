"""Recordings of a real arm: bags, LeRobot datasets and folders, read as images with the arm's joint angles."""
