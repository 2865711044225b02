"""The libraries: a column of the tables each."""

# By the name of what runs it (norm, rust/, or a module in libraries/): what its column is called.
COLUMNS = {
    "norm": "norm",
    "pytorch": "PyTorch",
    "huggingface": "transformers",
    "flax_linen": "flax",
    "keras_jax": "Keras",
    "onnx_runtime": "ONNX Runtime",
    "onnx_reference": "onnx",
    "openvino_cpu": "OpenVINO",
    "candle": "candle",
    "burn": "burn",
    "tinygrad_nn": "tinygrad",
    "mlx_fast": "MLX",
}
