//! Small models in ONNX, written byte by byte, so that no binary file is kept and nothing of another's
//! is needed to make one.
//!
//! Messages and their field numbers: `onnx.proto` of <https://github.com/onnx/onnx>. A field is a
//! varint of its number and kind, then a varint (kind 0), four bytes (5), or a length and so many bytes
//! (2): <https://protobuf.dev/programming-guides/encoding/>.

#![allow(dead_code, unreachable_pub, missing_docs)] // Each test takes what it needs.

/// A message that is being written.
#[derive(Clone, Debug, Default)]
pub struct Message(pub Vec<u8>);

impl Message {
    pub fn varint(mut self, field: u32, value: u64) -> Message {
        self.number(u64::from(field) << 3);
        self.number(value);
        self
    }

    pub fn bytes(mut self, field: u32, bytes: &[u8]) -> Message {
        self.number(u64::from(field) << 3 | 2);
        self.number(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
        self
    }

    pub fn text(self, field: u32, text: &str) -> Message {
        self.bytes(field, text.as_bytes())
    }

    pub fn float(mut self, field: u32, value: f32) -> Message {
        self.number(u64::from(field) << 3 | 5);
        self.0.extend_from_slice(&value.to_le_bytes());
        self
    }

    pub fn message(self, field: u32, inner: Message) -> Message {
        self.bytes(field, &inner.0)
    }

    pub fn all(self, field: u32, inner: impl IntoIterator<Item = Message>) -> Message {
        let inner = inner.into_iter();
        inner.fold(self, |whole, one| whole.message(field, one))
    }

    fn number(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }
}

/// `TensorProto.DataType`.
pub const FLOAT32: u64 = 1;
pub const INT64: u64 = 7;

/// A dimension of a value: a size, or a name where it is any.
#[derive(Clone, Copy, Debug)]
pub enum Dim {
    Size(u64),
    Any(&'static str),
}

/// `ValueInfoProto`: an input or output.
pub fn value(name: &str, element: u64, dims: &[Dim]) -> Message {
    let dims = dims.iter().map(|dim| match dim {
        Dim::Size(size) => Message::default().varint(1, *size),
        Dim::Any(name) => Message::default().text(2, name),
    });
    let shape = Message::default().all(1, dims);
    let tensor = Message::default().varint(1, element).message(2, shape);
    let kind = Message::default().message(1, tensor);
    Message::default().text(1, name).message(2, kind)
}

/// `TensorProto`: a value that the model has, row by row.
pub fn tensor(name: &str, dims: &[u64], values: &[f32]) -> Message {
    let bytes: Vec<u8> = values
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect();
    let dims = dims
        .iter()
        .fold(Message::default(), |whole, dim| whole.varint(1, *dim));
    dims.varint(2, FLOAT32).text(8, name).bytes(9, &bytes)
}

/// `NodeProto`.
pub fn node(operator: &str, inputs: &[&str], outputs: &[&str]) -> Message {
    let whole = inputs
        .iter()
        .fold(Message::default(), |whole, name| whole.text(1, name));
    let whole = outputs
        .iter()
        .fold(whole, |whole, name| whole.text(2, name));
    whole
        .text(3, &format!("{operator}_{}", outputs[0]))
        .text(4, operator)
}

/// `ModelProto`, of IR version 8 and operator set 13.
pub fn model(
    nodes: Vec<Message>,
    held: Vec<Message>,
    inputs: Vec<Message>,
    outputs: Vec<Message>,
) -> Vec<u8> {
    let graph = Message::default()
        .all(1, nodes)
        .text(2, "g")
        .all(5, held)
        .all(11, inputs)
        .all(12, outputs);
    let operators = Message::default().text(1, "").varint(2, 13);
    Message::default()
        .varint(1, 8)
        .message(7, graph)
        .message(8, operators)
        .0
}

/// `score = sigmoid(x . weights + bias)`, of `float32[rows, weights]`.
pub fn logistic(weights: &[f32], bias: f32) -> Vec<u8> {
    let count = weights.len() as u64;
    model(
        vec![
            node("Gemm", &["x", "w", "b"], &["sum"]),
            node("Sigmoid", &["sum"], &["score"]),
        ],
        vec![
            tensor("w", &[count, 1], weights),
            tensor("b", &[1], &[bias]),
        ],
        vec![value("x", FLOAT32, &[Dim::Any("rows"), Dim::Size(count)])],
        vec![value("score", FLOAT32, &[Dim::Any("rows"), Dim::Size(1)])],
    )
}

/// `y = relu(x . first + first_bias) . second`, with `first` of one row for each input and one column
/// for each of the `second`; all of it is in `hidden` too.
pub fn layers(first: &[&[f32]], first_bias: &[f32], second: &[f32]) -> Vec<u8> {
    let (inputs, hidden) = (first.len() as u64, second.len() as u64);
    model(
        vec![
            node("MatMul", &["x", "w1"], &["product"]),
            node("Add", &["product", "b1"], &["sum"]),
            node("Relu", &["sum"], &["hidden"]),
            node("MatMul", &["hidden", "w2"], &["y"]),
        ],
        vec![
            tensor("w1", &[inputs, hidden], &first.concat()),
            tensor("b1", &[hidden], first_bias),
            tensor("w2", &[hidden, 1], second),
        ],
        vec![value("x", FLOAT32, &[Dim::Size(1), Dim::Size(inputs)])],
        vec![
            value("hidden", FLOAT32, &[Dim::Size(1), Dim::Size(hidden)]),
            value("y", FLOAT32, &[Dim::Size(1), Dim::Size(1)]),
        ],
    )
}
