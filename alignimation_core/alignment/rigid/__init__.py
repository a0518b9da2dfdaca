"""Which parts of a body are rigid: its keypoints and outline, weighed by how well they agree."""
