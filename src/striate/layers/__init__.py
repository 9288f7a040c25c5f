"""Arithmetic that PyTorch lacks or hides, one idea a file; docs/layers.md shows it on paper."""

from striate.layers.basic_conv import BasicConv
from striate.layers.channel_shuffle import ChannelShuffle
from striate.layers.drop_connect import DropConnectConv2d, DropConnectLinear
from striate.layers.drop_path import DropPath
from striate.layers.gradient_check import GradientCheck, check_gradients, relative_error
from striate.layers.initialization import LayerSpread, activation_spread, he, small_random, xavier
from striate.layers.local_response_norm import local_response_norm
from striate.layers.maxout import Maxout
from striate.layers.output_size import output_size, split_padding, transposed_output_size
from striate.layers.pooling import FractionalMaxPool2d, draw_borders, fractional_max_pool
from striate.layers.squeeze_excitation import SqueezeExcitation
from striate.layers.toeplitz import convolution_matrix, transposed_convolution_matrix
from striate.layers.unpooling import max_unpool, upsampling_filter, upsampling_layer

__all__ = [
    "BasicConv",
    "ChannelShuffle",
    "DropConnectConv2d",
    "DropConnectLinear",
    "DropPath",
    "FractionalMaxPool2d",
    "GradientCheck",
    "LayerSpread",
    "Maxout",
    "SqueezeExcitation",
    "activation_spread",
    "check_gradients",
    "convolution_matrix",
    "draw_borders",
    "fractional_max_pool",
    "he",
    "local_response_norm",
    "max_unpool",
    "output_size",
    "relative_error",
    "small_random",
    "split_padding",
    "transposed_convolution_matrix",
    "transposed_output_size",
    "upsampling_filter",
    "upsampling_layer",
    "xavier",
]
