//! Runs a kernel written by hand, and shows what it did.

use ptx_sim::{Launch, Memory, Module};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let module = Module::parse(include_str!("ptx/vector_add.ptx"))?;
    let kernel = module.kernel("vector_add")?;

    let n = 1000u32;
    let floats = |f: fn(u32) -> f32| (0..n).flat_map(|i| f(i).to_le_bytes()).collect::<Vec<u8>>();
    let mut memory = Memory::new();
    let a = memory.upload_read_only("a", &floats(|i| i as f32));
    let b = memory.upload_read_only("b", &floats(|i| 2.0 * i as f32));
    // An output: the launch fails if a byte of it is left unwritten.
    let c = memory.output("c", u64::from(n) * 4);

    let launch = Launch::new(&kernel).grid([n.div_ceil(256), 1, 1]).block([256, 1, 1]);
    let counts = launch.arg(a).arg(b).arg(c).arg(n).run(&mut memory)?;

    let sums = memory.read(c, u64::from(n) * 4)?;
    let right = sums.chunks_exact(4).enumerate().all(|(i, sum)| sum == (3.0 * i as f32).to_le_bytes());
    println!("c = a + b for {n} elements: {}", if right { "right" } else { "wrong" });
    println!("{} instructions, {} in the longest warp", counts.total(), counts.longest_warp);
    println!("{} divergent branch: the last warp is not full", counts.divergent_branches);
    for (name, traffic) in &counts.global {
        let requests = if traffic.loads.requests > 0 { traffic.loads } else { traffic.stores };
        println!(
            "{name}: {} bytes in {} sectors, {} of them distinct, {:.2} of the minimum, {:.1} sectors a request",
            requests.bytes,
            requests.sectors,
            requests.distinct_sectors,
            requests.factor(u64::from(n) * 4),
            requests.sectors_a_request()
        );
    }
    Ok(())
}
