"""The parts of the ``cuda`` backend: rewriting, captures and the loop; needs torch, and no GPU to
be imported or tested."""
