"""Files that hold saliency maps: images, arrays and videos, each read as one grey channel per frame or refused."""
