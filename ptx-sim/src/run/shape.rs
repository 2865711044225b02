//! The shape of a launch, and who is where in it.

/// The extents of a launch, along x, y and z.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Blocks.
    pub grid: [u32; 3],
    /// Threads of a block.
    pub block: [u32; 3],
    /// Blocks of a cluster.
    pub cluster: [u32; 3],
}

impl Shape {
    pub fn threads(&self) -> u32 {
        product(self.block) as u32
    }

    /// Warps of a block.
    pub fn warps(&self) -> usize {
        self.threads().div_ceil(32) as usize
    }

    /// Blocks of a cluster.
    pub fn ranks(&self) -> u32 {
        product(self.cluster) as u32
    }

    pub fn clusters(&self) -> [u32; 3] {
        std::array::from_fn(|axis| self.grid[axis] / self.cluster[axis].max(1))
    }

    pub fn cluster_count(&self) -> u64 {
        product(self.clusters())
    }

    /// Where a cluster lies among the clusters.
    pub fn cluster_at(&self, number: u64) -> [u32; 3] {
        split(number, self.clusters())
    }

    /// Where a block lies in its cluster.
    pub fn rank_at(&self, rank: u32) -> [u32; 3] {
        split(u64::from(rank), self.cluster)
    }

    /// Where a block lies in the grid.
    pub fn block_at(&self, cluster: u64, rank: u32) -> [u32; 3] {
        let (cluster, rank) = (self.cluster_at(cluster), self.rank_at(rank));
        std::array::from_fn(|axis| cluster[axis] * self.cluster[axis] + rank[axis])
    }

    /// Where a thread lies in its block.
    pub fn thread_at(&self, number: u32) -> [u32; 3] {
        split(u64::from(number), self.block)
    }
}

pub fn product(extents: [u32; 3]) -> u64 {
    extents.into_iter().map(u64::from).fold(1, u64::saturating_mul)
}

/// The position of a number, x varying fastest.
fn split(number: u64, [x, y, _]: [u32; 3]) -> [u32; 3] {
    let (x, y) = (u64::from(x.max(1)), u64::from(y.max(1)));
    [(number % x) as u32, (number / x % y) as u32, (number / x / y) as u32]
}
