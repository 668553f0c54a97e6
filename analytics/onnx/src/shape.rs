//! What a file says of itself, looked at before it is made ready, so that what does not fit is said in
//! the words of who wrote the settings.

use std::collections::BTreeSet;

use tract_onnx::pb::{GraphProto, ModelProto, ValueInfoProto, tensor_shape_proto, type_proto};
use tract_onnx::prelude::TVec;

use crate::Wanted;

/// Elements of tensors, by their numbers in ONNX (`TensorProto.DataType`).
const ELEMENTS: [&str; 17] = [
    "undefined",
    "float32",
    "uint8",
    "int8",
    "uint16",
    "int16",
    "int32",
    "int64",
    "string",
    "bool",
    "float16",
    "float64",
    "uint32",
    "uint64",
    "complex64",
    "complex128",
    "bfloat16",
];
const FLOAT32: i32 = 1;

/// Operators whose results are drawn, so that no two runs had the same.
const DRAWN: [&str; 6] = [
    "Bernoulli",
    "Multinomial",
    "RandomNormal",
    "RandomNormalLike",
    "RandomUniform",
    "RandomUniformLike",
];

/// Where operators that are known come from; the first is the usual way to say the second.
const DOMAINS: [&str; 3] = ["", "ai.onnx", "ai.onnx.ml"];

fn element(number: i32) -> String {
    let name = ELEMENTS.get(usize::try_from(number).unwrap_or(usize::MAX));
    name.map_or_else(|| format!("elements of type {number}"), ToString::to_string)
}

/// A dimension: `None` where it is not said, or has a name instead of a number.
fn dimensions(value: &ValueInfoProto) -> (Option<i32>, Option<Vec<Option<i64>>>) {
    let kind = value.r#type.as_ref().and_then(|kind| kind.value.as_ref());
    let Some(type_proto::Value::TensorType(tensor)) = kind else {
        return (None, None);
    };
    let shape = tensor.shape.as_ref().map(|shape| {
        let dims = shape.dim.iter().map(|dim| match dim.value {
            Some(tensor_shape_proto::dimension::Value::DimValue(size)) => Some(size),
            Some(tensor_shape_proto::dimension::Value::DimParam(_)) | None => None,
        });
        dims.collect()
    });
    (Some(tensor.elem_type), shape)
}

fn said(value: &ValueInfoProto) -> String {
    let (kind, shape) = dimensions(value);
    let kind = kind.map_or("no tensor".into(), element);
    let Some(shape) = shape else {
        return kind;
    };
    let dims = shape.iter().map(|dim| match dim {
        Some(size) => size.to_string(),
        None => "?".into(),
    });
    format!("{kind}[{}]", dims.collect::<Vec<_>>().join(", "))
}

fn names<'a>(values: impl Iterator<Item = &'a ValueInfoProto>) -> String {
    let names: Vec<_> = values.map(|value| format!("`{}`", value.name)).collect();
    match names.is_empty() {
        true => "none".into(),
        false => names.join(", "),
    }
}

/// The shape that the inputs have, and the name of the output that is looked at.
pub(crate) fn check(
    model: &ModelProto,
    wanted: &Wanted<'_>,
    is_known: impl Fn(&str) -> bool,
) -> Result<(TVec<usize>, String), String> {
    let Some(graph) = &model.graph else {
        return Err("has no graph, want an ONNX model".into());
    };
    check_nodes(graph, &is_known)?;
    check_names(graph)?;
    let shape = input(graph, wanted.inputs)?;
    Ok((shape, output(graph, wanted.output)?))
}

/// Those of the graph and of graphs in it.
fn check_nodes(graph: &GraphProto, is_known: &impl Fn(&str) -> bool) -> Result<(), String> {
    for node in &graph.node {
        let name = match node.name.as_str() {
            "" => node.output.first().map_or("", String::as_str),
            name => name,
        };
        let operator = &node.op_type;
        if !DOMAINS.contains(&node.domain.as_str()) {
            return Err(format!(
                "node `{name}`: operator `{}.{operator}` is unknown, want one of ai.onnx or ai.onnx.ml",
                node.domain
            ));
        }
        if DRAWN.contains(&operator.as_str()) {
            return Err(format!(
                "node `{name}`: operator `{operator}` draws its result, want a model that says the \
                 same of the same inputs"
            ));
        }
        if !is_known(operator) {
            return Err(format!(
                "node `{name}`: operator `{operator}` is unknown to the runtime"
            ));
        }
        for attribute in &node.attribute {
            let graphs = attribute.g.iter().chain(&attribute.graphs);
            for inner in graphs {
                check_nodes(inner, is_known)?;
            }
        }
    }
    let outside = |tensor: &&tract_onnx::pb::TensorProto| {
        !tensor.external_data.is_empty() || tensor.data_location == Some(1)
    };
    if let Some(tensor) = graph.initializer.iter().find(outside) {
        return Err(format!(
            "the values of `{}` are in another file, want all in one",
            tensor.name
        ));
    }
    Ok(())
}

/// That each value which is looked at comes from somewhere.
fn check_names(graph: &GraphProto) -> Result<(), String> {
    let inputs = graph.input.iter().map(|value| value.name.as_str());
    let held = graph.initializer.iter().map(|value| value.name.as_str());
    let made = graph.node.iter().flat_map(|node| &node.output);
    let known: BTreeSet<&str> = inputs.chain(held).chain(made.map(String::as_str)).collect();
    let used = graph.node.iter().flat_map(|node| &node.input);
    let used = used.filter(|name| !name.is_empty());
    let outputs = graph.output.iter().map(|value| &value.name);
    for name in used.chain(outputs) {
        if !known.contains(name.as_str()) {
            return Err(format!("nothing makes the value `{name}`"));
        }
    }
    Ok(())
}

/// The shape of the one input, for so many features.
fn input(graph: &GraphProto, count: usize) -> Result<TVec<usize>, String> {
    let is_held = |name: &str| graph.initializer.iter().any(|tensor| tensor.name == name);
    let mut inputs = graph.input.iter().filter(|value| !is_held(&value.name));
    let want = || match count {
        1 => "float32[1, 1], for 1 feature".to_string(),
        _ => format!("float32[1, {count}], for {count} features"),
    };
    let (Some(value), None) = (inputs.next(), inputs.next()) else {
        let all = names(graph.input.iter().filter(|value| !is_held(&value.name)));
        return Err(format!("inputs: {all}; want one of {}", want()));
    };
    let (kind, shape) = dimensions(value);
    let shape = shape.unwrap_or_else(|| vec![None, None]);
    let fits = |dim: &Option<i64>, size: usize| dim.is_none_or(|dim| dim == size as i64);
    match &shape[..] {
        [features] if kind == Some(FLOAT32) && fits(features, count) => {
            Ok(TVec::from_slice(&[count]))
        }
        [rows, features] if kind == Some(FLOAT32) && fits(rows, 1) && fits(features, count) => {
            Ok(TVec::from_slice(&[1, count]))
        }
        _ => Err(format!(
            "input `{}` is {}, want {}",
            value.name,
            said(value),
            want()
        )),
    }
}

fn output(graph: &GraphProto, wanted: Option<&str>) -> Result<String, String> {
    let all = || names(graph.output.iter());
    match (wanted, &graph.output[..]) {
        (Some(name), outputs) => match outputs.iter().find(|value| value.name == name) {
            Some(value) => Ok(value.name.clone()),
            None => Err(format!("has no output `{name}`; there are {}", all())),
        },
        (None, [one]) => Ok(one.name.clone()),
        (None, _) => Err(format!("outputs: {}; want `output` to name one", all())),
    }
}
