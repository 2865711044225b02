//! A kernel as the driver knows it: its text, its parameters, what it has been permitted.

/// Bytes of dynamic shared memory that every kernel may ask for.
const SHARED: u32 = 48 << 10;

/// The largest cluster that every device takes.
const PORTABLE_CLUSTER: u32 = 8;

/// The most bytes of shared memory that a block may have (CUDA C++ Programming Guide, 'Technical Specifications per Compute
/// Capability').
pub fn shared_bytes(capability: (i32, i32)) -> u32 {
    match capability {
        (8, 0 | 7) => 163 << 10,
        (9..=11, _) => 227 << 10,
        _ => 99 << 10,
    }
}

/// Whether launches have attributes: clusters and overlap came with 9.0.
pub fn takes_attributes(capability: (i32, i32)) -> bool {
    capability >= (9, 0)
}

#[derive(Clone)]
pub struct Function {
    pub device: usize,
    pub name: String,
    pub text: std::sync::Arc<str>,
    /// Bytes of each parameter.
    pub parameters: Vec<usize>,
    most_shared: u32,
    takes_large_clusters: bool,
}

impl Function {
    /// The entry of this name, if the text has it.
    pub fn new(device: usize, text: std::sync::Arc<str>, name: String) -> Option<Function> {
        let header = text.split_once(&format!(".entry {name}("))?.1.split(')').next()?;
        let parameters = header.split(".param").skip(1).map(bytes).collect::<Option<_>>()?;
        Some(Function { device, name, text, parameters, most_shared: SHARED, takes_large_clusters: false })
    }

    /// `cuFuncSetAttribute`, on a device of that capability.
    pub fn permit(&mut self, attribute: u32, value: i32, capability: (i32, i32)) -> Result<(), u32> {
        const MAX_DYNAMIC_SHARED_SIZE_BYTES: u32 = 8;
        const NON_PORTABLE_CLUSTER_SIZE_ALLOWED: u32 = 14;
        match attribute {
            MAX_DYNAMIC_SHARED_SIZE_BYTES if value as u32 > shared_bytes(capability) => {
                return Err(super::INVALID_VALUE);
            }
            MAX_DYNAMIC_SHARED_SIZE_BYTES => self.most_shared = value as u32,
            NON_PORTABLE_CLUSTER_SIZE_ALLOWED if !takes_attributes(capability) => {
                return Err(super::INVALID_VALUE);
            }
            NON_PORTABLE_CLUSTER_SIZE_ALLOWED => self.takes_large_clusters = value != 0,
            _ => return Err(super::INVALID_VALUE),
        }
        Ok(())
    }

    /// Whether it may be launched with so much shared memory, in such clusters.
    pub fn permits(&self, shared_bytes: u32, cluster: u32) -> Result<(), u32> {
        if shared_bytes > self.most_shared {
            return Err(super::INVALID_VALUE);
        }
        if cluster > PORTABLE_CLUSTER && !self.takes_large_clusters {
            return Err(super::INVALID_CLUSTER_SIZE);
        }
        Ok(())
    }

    /// A copy of what a launch's parameters point to, one right behind the other.
    ///
    /// # Safety
    /// There are as many as the kernel has, and each points to as many bytes.
    pub unsafe fn packed(&self, parameters: *const *const u8) -> Vec<u8> {
        let each = self.parameters.iter().enumerate();
        // SAFETY: the caller guarantees a pointer for each parameter of the kernel, to as many bytes as it has.
        let each =
            each.map(|(index, &bytes)| unsafe { std::slice::from_raw_parts(*parameters.add(index), bytes) });
        each.flatten().copied().collect()
    }
}

/// Bytes of a parameter declared like this, behind `.param`: ` .align 8 .b8 args[232],` or ` .u64 sums`.
fn bytes(declaration: &str) -> Option<usize> {
    let kind = declaration.split_whitespace().find(|word| {
        word.strip_prefix(['.']).is_some_and(|word| word.starts_with(['b', 'f', 's', 'u']) && word.len() < 4)
    })?;
    let bits: usize = kind[2..].parse().ok()?;
    let elements = match declaration.split_once('[') {
        Some((_, rest)) => rest.split(']').next()?.trim().parse().ok()?,
        None => 1,
    };
    Some(elements * bits / 8)
}
