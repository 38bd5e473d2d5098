"""PixelCNN on a GPU: the wavefront's stages with all positions worked out beforehand."""
