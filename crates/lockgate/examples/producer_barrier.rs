//! "Synchronizing passes with producer barriers": the second pass makes D ready for the third.
//!
//! `cargo run -p lockgate --example producer_barrier`
//!
//! The copy and the dispatch of the second pass both touch C, and the barrier does not order them: the article's
//! own illustration has a write-after-read hazard there. They come out as free below.
#![allow(clippy::print_stdout, reason = "an example shows what it finds")]

mod articles;

use articles::Article;
use lockgate::*;

fn main() -> Result<()> {
    let article = Article::new()?;
    let [a, b, c, d, _] = &article.buffers[..] else { return Ok(()) };
    let allocator = article.device.new_command_allocator("");
    let mut commands = article.device.new_command_buffer("producer");
    commands.begin(&allocator);
    commands.compute_command_encoder("pass 1").copy_buffer(a, 0, b, 0, 1024);

    let mut encoder = commands.compute_command_encoder("pass 2");
    encoder.copy_buffer(c, 0, d, 0, 1024);
    // All copies so far, of this pass and of earlier ones, come before dispatches of later passes.
    encoder.producer_barrier(Barrier { after: Stages::BLIT, before: Stages::DISPATCH, ..Default::default() });
    article.modify(&mut encoder, 2)?;
    encoder.end_encoding();

    let mut encoder = commands.compute_command_encoder("pass 3");
    article.modify(&mut encoder, 3)?;
    encoder.end_encoding();
    commands.end()?;
    article.run(&commands, &["1: copy A to B", "2: copy C to D", "2: modify C", "3: modify D"])?;
    let copied = d.read::<u32>(0, 1)?[0];
    assert!(copied == 7 || copied == 15, "C was 3, or 7 where its modification came before the copy");
    Ok(())
}
