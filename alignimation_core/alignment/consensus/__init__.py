"""Photos correct each other: keypoints are moved to where the patches around them agree."""
