"""MNIST as Keras' "simple convnet" example trains it (two convolutions, dropout, Adam, batches of 128), on TensorFlow,
Keras' default.

python mnist_keras.py FOLDER_OF_IDX_FILES TARGET SEED; prints seconds from the start of the process.
"""

import sys

import keras
from common import Clock, idx_arrays
from keras import layers

clock = Clock()
folder, target, seed = sys.argv[1], float(sys.argv[2]), int(sys.argv[3])
keras.utils.set_random_seed(seed)
(x_train, y_train), (x_test, y_test) = (
    (images[..., None].astype("float32") / 255, keras.utils.to_categorical(labels, 10))
    for images, labels in (idx_arrays(folder, "train"), idx_arrays(folder, "t10k"))
)
model = keras.Sequential(
    [
        keras.Input(shape=(28, 28, 1)),
        layers.Conv2D(32, kernel_size=(3, 3), activation="relu"),
        layers.MaxPooling2D(pool_size=(2, 2)),
        layers.Conv2D(64, kernel_size=(3, 3), activation="relu"),
        layers.MaxPooling2D(pool_size=(2, 2)),
        layers.Flatten(),
        layers.Dropout(0.5),
        layers.Dense(10, activation="softmax"),
    ]
)
model.compile(loss="categorical_crossentropy", optimizer="adam", metrics=["accuracy"])


class Target(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):  # noqa: ARG002 - Keras gives it
        clock.log(epoch + 1, self.model.evaluate(x_test, y_test, verbose=0)[1], target)


model.fit(x_train, y_train, batch_size=128, epochs=15, validation_split=0.1, verbose=0, callbacks=[Target()])
