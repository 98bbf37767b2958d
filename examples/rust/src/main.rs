//! Runs every conformance row of a bundle in ONNX Runtime: `check LIBRARY BUNDLE DRAWS`.
//!
//! Exits with 1 if a row fails. LIBRARY is ONNX Runtime's shared library.

use std::collections::HashMap;
use std::error::Error;
use std::fs;
use std::path::Path;
use std::process::ExitCode;

use ort::session::Session;
use ort::value::{DynValue, Tensor, TensorElementType};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

/// The graph to embed: one column per feature in, every output out.
const GRAPH: &str = "scorer.onnx";

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [library, bundle, draws] = arguments.as_slice() else {
        return Err("usage: check LIBRARY BUNDLE DRAWS".into());
    };
    let bundle = Path::new(bundle);
    let rows = read(&bundle.join("conformance/conformance.json"))?;
    let draws = read(Path::new(draws))?;

    let environment = ort::init_from(library)?.with_telemetry(false).build()?;
    let mut session = Session::builder(&environment)?.commit_from_file(bundle.join(GRAPH))?;
    let found = score(&mut session, object(&rows["inputs"]))?;

    println!("onnxruntime from {library}");
    println!(
        "{}: {} conformance rows",
        rows["bundle_id"].as_str().unwrap_or_default(),
        rows["rows"]
    );
    let mut passed = true;
    for (name, allowed) in object(&rows["tolerances"]) {
        let allowed = allowed.as_f64().unwrap_or_default();
        let worst = difference(&flat(&rows["outputs"][name]), &found[name]);
        passed &= worst <= allowed;
        println!(
            "{name:14} worst difference {worst:.2e}, allowed {allowed:e}: {}",
            verdict(worst <= allowed)
        );
    }
    let same = object(&draws)
        .iter()
        .all(|(text, expected)| Some(u64::from(draw(text))) == expected.as_u64());
    println!("draws of control group and arms: {}", verdict(same));
    Ok(if passed && same {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Every output by name, row after row, for users given as one column of values per feature.
fn score(
    session: &mut Session,
    columns: &Map<String, Value>,
) -> ort::Result<HashMap<String, Vec<f64>>> {
    let feeds = session
        .inputs()
        .iter()
        .map(|input| {
            let is_text = input.dtype().tensor_type() == Some(TensorElementType::String);
            let values = columns[input.name()]
                .as_array()
                .expect("a column of values");
            Ok((input.name().to_owned(), column(values, is_text)?))
        })
        .collect::<ort::Result<Vec<_>>>()?;
    let outputs = session.run(feeds)?;
    outputs
        .iter()
        .map(|(name, value)| {
            let numbers = match value.try_extract_tensor::<f32>() {
                Ok((_, floats)) => floats.iter().copied().map(f64::from).collect(),
                Err(_) => value
                    .try_extract_tensor::<i64>()?
                    .1
                    .iter()
                    .map(|&number| number as f64)
                    .collect(),
            };
            Ok((name.to_owned(), numbers))
        })
        .collect()
}

/// A tensor [rows, 1]; a missing value is NaN or an empty text.
fn column(values: &[Value], is_text: bool) -> ort::Result<DynValue> {
    let shape = [values.len(), 1];
    if is_text {
        let texts: Vec<String> = values
            .iter()
            .map(|value| value.as_str().unwrap_or_default().to_owned())
            .collect();
        return Ok(Tensor::from_string_array((shape, texts.as_slice()))?.into_dyn());
    }
    let numbers: Vec<f32> = values
        .iter()
        .map(|value| value.as_f64().unwrap_or(f64::NAN) as f32)
        .collect();
    Ok(Tensor::from_array((shape, numbers))?.into_dyn())
}

/// The numbers in lists of lists; the document holds each `f32` as its shortest text.
fn flat(value: &Value) -> Vec<f64> {
    match value {
        Value::Array(values) => values.iter().flat_map(flat).collect(),
        number => vec![f64::from(number.as_f64().unwrap_or(f64::NAN) as f32)],
    }
}

/// The largest difference, relative for numbers above 1; NaN never counts as close.
fn difference(expected: &[f64], found: &[f64]) -> f64 {
    if expected.len() != found.len() {
        return f64::INFINITY;
    }
    let shares = expected
        .iter()
        .zip(found)
        .map(|(e, f)| (f - e).abs() / e.abs().max(1.0));
    shares.fold(0.0, |worst, share| {
        if share.is_nan() {
            f64::INFINITY
        } else {
            share.max(worst)
        }
    })
}

/// A number from 0 to 2³² − 1: the first 8 hex digits of SHA-256.
///
/// A user is in the control group if `draw("control-v1:" + id) < share * 2³²`, and in the first arm whose
/// cumulated share exceeds `draw("arm-v1:" + campaign + ":" + id) / 2³²`.
fn draw(text: &str) -> u32 {
    let digest = Sha256::digest(text.as_bytes());
    u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]])
}

fn read(path: &Path) -> Result<Value, Box<dyn Error>> {
    Ok(serde_json::from_str(&fs::read_to_string(path)?)?)
}

fn object(value: &Value) -> &Map<String, Value> {
    value.as_object().expect("an object")
}

fn verdict(good: bool) -> &'static str {
    if good { "ok" } else { "WRONG" }
}
