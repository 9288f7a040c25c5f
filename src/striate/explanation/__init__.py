"""Why a network answers as it does: one method a file, each `(network, images, *, classes, ...) -> maps`, for any
`nn.Module`.

Images are as the network takes them (N, C, H, W); `classes` is one class, one for each image, or a function from the
output to scores.
"""

from striate.explanation.deconvnet import deconvnet as deconvnet
from striate.explanation.grad_cam import grad_cam as grad_cam
from striate.explanation.grad_cam_plus_plus import grad_cam_plus_plus as grad_cam_plus_plus
from striate.explanation.gradient_x_input import gradient_x_input as gradient_x_input
from striate.explanation.guided_backprop import guided_backprop as guided_backprop
from striate.explanation.guided_grad_cam import guided_grad_cam as guided_grad_cam
from striate.explanation.integrated_gradients import integrated_gradients as integrated_gradients
from striate.explanation.layer_cam import layer_cam as layer_cam
from striate.explanation.layers import default_layer as default_layer
from striate.explanation.lime import lime as lime
from striate.explanation.occlusion import occlusion as occlusion
from striate.explanation.resizing import enlarge as enlarge
from striate.explanation.saliency import saliency as saliency
from striate.explanation.score_cam import score_cam as score_cam
from striate.explanation.smooth_grad import smooth_grad as smooth_grad
