"""Files that hold saliency maps: pictures, arrays and videos, each read as one grey channel per frame or refused."""
