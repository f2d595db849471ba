//! "Synchronizing passes with consumer barriers": the second pass waits for what the first has made of B.
//!
//! `cargo run -p lockgate --example consumer_barrier`
#![allow(clippy::print_stdout, reason = "an example shows what it finds")]

mod articles;

use articles::Article;
use lockgate::*;

fn main() -> Result<()> {
    let article = Article::new()?;
    let [a, b, c, d, _] = &article.buffers[..] else { return Ok(()) };
    let allocator = article.device.new_command_allocator("");
    let mut commands = article.device.new_command_buffer("consumer");
    commands.begin(&allocator);
    commands.compute_command_encoder("pass 1").copy_buffer(a, 0, b, 0, 1024);

    let mut encoder = commands.compute_command_encoder("pass 2");
    encoder.copy_buffer(c, 0, d, 0, 1024);
    // Copies of earlier passes, not this pass's own, come before the dispatches from here on, also those of
    // later passes.
    encoder.consumer_barrier(Barrier { after: Stages::BLIT, before: Stages::DISPATCH, ..Default::default() });
    article.modify(&mut encoder, 1)?;
    encoder.end_encoding();

    let mut encoder = commands.compute_command_encoder("pass 3");
    article.modify(&mut encoder, 4)?;
    encoder.end_encoding();
    commands.end()?;
    article.run(&commands, &["1: copy A to B", "2: copy C to D", "2: modify B", "3: modify E"])?;
    assert_eq!(b.read::<u32>(0, 1)?, [3], "1, copied, then doubled and one more");
    Ok(())
}
