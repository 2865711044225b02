"""ONNX models of one node: the operators LayerNormalization (opset 17) and RMSNormalization (opset 23)."""

from onnx import TensorProto, helper

ELEMENTS = {"float16": TensorProto.FLOAT16, "bfloat16": TensorProto.BFLOAT16, "float32": TensorProto.FLOAT}


def model(operator, eps, x, w, b=None):
    """The model and its inputs, by name. As the operators say, y has the type of x, that of RMSNormalization w's."""
    inputs = {"x": x, "w": w} | ({} if b is None else {"b": b})
    node = helper.make_node(operator, list(inputs), ["y"], epsilon=eps)
    y_type = (x if operator == "LayerNormalization" else w).dtype.name
    types = [(name, array.dtype.name, array.shape) for name, array in inputs.items()] + [("y", y_type, x.shape)]
    infos = [helper.make_tensor_value_info(name, ELEMENTS[dtype], shape) for name, dtype, shape in types]
    opset = helper.make_opsetid("", 17 if operator == "LayerNormalization" else 23)
    graph = helper.make_graph([node], "norm", infos[:-1], infos[-1:])
    return helper.make_model(graph, opset_imports=[opset], ir_version=11), inputs
