//! Layers and kernels of small convolutional energy networks.
