//! Writes the files that the tests of hostile input start from into a folder, and ready-made hostile
//! ones beside them:
//!
//! `cargo run -p groundstate --example hostile_files -- FOLDER`
//!
//! Images are called `image-*`, models `model-*`, configurations `config-*`. Names that end in `-sound`
//! are what the program accepts; the others it must refuse with one line each, or read without harm.

#[path = "../tests/hostile/corpus.rs"]
mod corpus;
#[path = "../tests/hostile/parts.rs"]
mod parts;

use std::fs;
use std::path::Path;

use groundstate::artifact;
use groundstate::image::write_png;
use parts::Parts;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = std::env::args_os().nth(1).ok_or("usage: hostile_files FOLDER")?;
    let folder = Path::new(&folder);
    fs::create_dir_all(folder)?;
    let write = |name: String, bytes: &[u8]| fs::write(folder.join(name), bytes);
    write_png(&folder.join("image-part-sound.png"), &corpus::picture(0))?;
    for (number, bytes) in corpus::images().iter().enumerate() {
        write(format!("image-{number}-sound.png"), bytes)?;
        write(format!("image-{number}-half.png"), &bytes[..bytes.len() / 2])?;
    }
    write("image-bomb.png".into(), &corpus::announced_png(100_000, 100_000))?;
    write("image-wide.png".into(), &corpus::announced_png(2_000_000_000, 1))?;
    write("image-text-bomb.png".into(), &corpus::text_bomb())?;
    for (number, detector) in corpus::detectors().iter().enumerate() {
        let path = folder.join(format!("model-{number}-sound.gsm"));
        artifact::save(detector, &path)?;
        let bytes = fs::read(&path)?;
        write(format!("model-{number}-half.gsm"), &bytes[..bytes.len() / 2])?;
        let mut flipped = bytes.clone();
        flipped[bytes.len() - 1] ^= 1;
        write(format!("model-{number}-flipped.gsm"), &flipped)?;
        let mut parts = Parts::of(&bytes);
        parts.tensors[0].set(0, f32::NAN);
        write(format!("model-{number}-nan.gsm"), &parts.sealed())?;
        parts.description = parts.description.replacen("\"size\":32", "\"size\":4294967296", 1);
        write(format!("model-{number}-huge.gsm"), &parts.sealed())?;
    }
    for (number, config) in corpus::every_config().iter().enumerate() {
        write(format!("config-{number}-sound.json"), &serde_json::to_vec_pretty(config)?)?;
    }
    Ok(())
}
