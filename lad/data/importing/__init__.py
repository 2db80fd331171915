"""Import of data sets in other formats as COCO folders, which everything else reads."""
