"""Backbones: ResNet, ResNeXt (plain or deformable) and Swin, built from torchvision's blocks."""
