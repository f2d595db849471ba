//! "Synchronizing stages within a pass": a copy and a dispatch on the same buffer in one compute pass.
//!
//! `cargo run -p lockgate --example intrapass_barrier`
#![allow(clippy::print_stdout, reason = "an example shows what it finds")]

mod articles;

use articles::Article;
use lockgate::*;

fn main() -> Result<()> {
    let article = Article::new()?;
    let [a, b, ..] = &article.buffers[..] else { return Ok(()) };
    let allocator = article.device.new_command_allocator("");
    let mut commands = article.device.new_command_buffer("intrapass");
    commands.begin(&allocator);
    let mut encoder = commands.compute_command_encoder("one pass");
    encoder.copy_buffer(a, 0, b, 0, 1024);
    // Without it the dispatch may read B before, while or after the copy writes it.
    encoder.intrapass_barrier(Barrier {
        after: Stages::BLIT,
        before: Stages::DISPATCH,
        ..Default::default()
    });
    article.modify(&mut encoder, 1)?;
    encoder.end_encoding();
    commands.end()?;
    article.run(&commands, &["copy A to B", "modify B"])?;
    assert_eq!(b.read::<u32>(0, 1)?, [3], "1, copied, then doubled and one more");
    Ok(())
}
