"""A dataset of one batch."""

import keras


class OneBatch(keras.utils.PyDataset):
    """`data`: inputs, labels and, unless they are left out, weights."""

    def __init__(self, *data):
        super().__init__()
        self.data = data

    def __len__(self):
        return 1

    def __getitem__(self, index):
        return self.data
