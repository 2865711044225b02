//! `norm tensors`.

use std::fs::File;

use safetensors::Dtype;
use serde_json::json;

use crate::file::{self, bytes};
use crate::run::norm;

#[test]
fn a_file_is_listed_in_the_order_of_its_bytes() {
    let folder = tempfile::tempdir().unwrap();
    file::write(
        &folder.path().join("m.safetensors"),
        &[
            ("model.norm.weight", Dtype::F32, &[2], &bytes(&[1.0, 2.0])),
            ("ids", Dtype::I64, &[2, 1], &[0; 16]),
            ("step", Dtype::U8, &[], &[0]),
        ],
    );
    assert_eq!(
        norm(folder.path(), &["tensors", "m.safetensors"]).good(),
        "ids                I64  2 × 1\n\
         model.norm.weight  F32  2\n\
         step               U8\n\
         3 tensors, 25 B\n"
    );
    let list = norm(folder.path(), &["tensors", "m.safetensors", "--json"]).json();
    assert_eq!(list["file"], "m.safetensors");
    assert_eq!(list["tensors"][0], json!({"name": "ids", "dtype": "I64", "shape": [2, 1], "bytes": 16}));
}

#[test]
fn an_index_is_listed_with_its_files() {
    let folder = tempfile::tempdir().unwrap();
    for (shard, name) in [("1.safetensors", "a"), ("2.safetensors", "b")] {
        file::write(&folder.path().join(shard), &[(name, Dtype::F16, &[4, 1], &[0; 8])]);
    }
    let index = r#"{"weight_map": {"b": "2.safetensors", "a": "1.safetensors"}}"#;
    std::fs::write(folder.path().join("m.index.json"), index).unwrap();
    assert_eq!(
        norm(folder.path(), &["tensors", "m.index.json"]).good(),
        "b  F16  4 × 1  2.safetensors\na  F16  4 × 1  1.safetensors\n2 tensors, 16 B\n"
    );
    std::fs::remove_file(folder.path().join("1.safetensors")).unwrap();
    let message = norm(folder.path(), &["tensors", "m.index.json"]).bad_input();
    assert!(message.contains("has tensor 'a' in 1.safetensors, which is not there"), "{message}");
}

#[test]
fn a_file_of_any_size_is_listed_by_its_header_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m");
    let end = 1_u64 << 40;
    file::write_raw(
        &path,
        &json!({"x": {"dtype": "F32", "shape": [end / 4], "data_offsets": [0, end]}}).to_string(),
        &[],
    );
    let file = File::options().write(true).open(&path).unwrap();
    // Sparse: it takes no room, and reading it all would take minutes.
    file.set_len(file.metadata().unwrap().len() + end).unwrap();
    assert_eq!(norm(folder.path(), &["tensors", "m"]).good(), "x  F32  274877906944\n1 tensor, 1.00 TiB\n");
}
