//! Writes the vectors of `tests/vectors/http1` as seeds for the target `http1_response`.

use std::path::Path;

#[path = "../../http1/tests/codec/vectors.rs"]
#[expect(dead_code, reason = "the splits are for the tests")]
mod vectors;

fn main() -> std::io::Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus/http1_response");
    std::fs::create_dir_all(&folder)?;
    for file in ["heads.tsv", "bodies.tsv"] {
        for (index, row) in vectors::rows(file).iter().enumerate() {
            // Two bytes choose method, limits and piece length; see the target.
            let seed = [vec![0, 3], vectors::unescape(&row[2])].concat();
            std::fs::write(folder.join(format!("{file}-{index}")), seed)?;
        }
    }
    Ok(())
}
