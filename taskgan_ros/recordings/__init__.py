"""What others recorded of a real arm: bags, LeRobot's datasets and folders, as images with the arm's joint angles."""
