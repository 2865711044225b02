//! What plans make of a device's limits, and which kernels are loaded ahead of use.

use super::faults;
use super::programs::{DRIVER, LIB, PLANS};

faults! {
    in "norm-host/src/plan/profile.rs" by PLANS {
        "8.6 has an A100's shared memory": text "(8, 0 | 7) =>" => "(8, 0 | 6 | 7) =>";
        "8.9 has an A100's shared memory": text "(8, 0 | 7) =>" => "(8, 0 | 7 | 9) =>";
        "8.7 has no more than the least": text "(8, 0 | 7) =>" => "(8, 0) =>";
        "12.0 has an H100's limits": text "(9 | 10, _) =>" => "(9 | 10 | 12, _) =>";
        "11.0 has an A100's shared memory": text "dependent_launch: true, ..DeviceProfile::LEAST }" => "dependent_launch: true, max_shared_bytes: 160 << 10, ..DeviceProfile::LEAST }";
        "12.0 has no dependent launch": text "(11.., _) =>" => "(11, _) =>";
        "the least is more than 8.6 has": text "max_shared_bytes: 96 << 10" => "max_shared_bytes: 100 << 10";
        "clusters of 32": text "max_cluster: 16" => "max_cluster: 32";
    }
    in "norm-host/src/device.rs" by DRIVER {
        "a profile's shared memory above the device's": value "profile.max_shared_bytes.min(all.max_shared_bytes)" => "profile.max_shared_bytes";
        "a profile's clusters above the device's": value "profile.max_cluster.clamp(1, all.max_cluster)" => "profile.max_cluster.max(1)";
        "a profile's dependent launch above the device's": value "profile.dependent_launch && all.dependent_launch" => "profile.dependent_launch";
        "a handle has no more than the one that it is made of": value "let all = «self.inner.profile»;" => "self.profile";
    }
    in "norm-host/src/device/fit.rs" by LIB {
        "clusters for kernels that have none": value "device.max_cluster.min(text.max_cluster)" => "device.max_cluster";
        "dependent launch of kernels that have none": value "device.dependent_launch && text.dependent_launch" => "device.dependent_launch";
    }
    in "norm-host/src/device/kernels.rs" by DRIVER {
        "a function is permitted an H100's shared memory": value "allow_shared_memory(function, «max_shared_bytes»)" => "227 << 10";
        "a function is permitted no more shared memory": value "matches!(storage, Storage::Shared | Storage::Hybrid(_))" => "matches!(storage, Storage::Shared)";
        "large clusters are not permitted": value "takes_clusters && max_cluster > PORTABLE_CLUSTER" => "takes_clusters && max_cluster > 2 * PORTABLE_CLUSTER";
    }
    in "norm-host/src/plan/select.rs" by DRIVER {
        "preloading leaves long grids out": value "[1, profile.short_grid.saturating_add(1), u64::MAX]" => "[1, profile.short_grid.saturating_add(1), 1]";
        "preloading leaves short grids out": value "[1, profile.short_grid.saturating_add(1), u64::MAX]" => "[u64::MAX, profile.short_grid.saturating_add(1), u64::MAX]";
        "preloading leaves residuals in front out": value "[(false, false), (true, false), (true, true)]" => "[(false, false), (false, false), (true, true)]";
        "preloading leaves what is rare out": value "[(false, false), (true, false), (true, true)]" => "[(false, false), (true, false), (true, false)]";
        "preloading leaves rows without vectors out": value ".chain(«[Variant::Scalar]»)" => "[Variant::Stream]";
    }
    in "norm-host/src/plan/gated.rs" by DRIVER {
        "preloading gated rows leaves those without vectors out": value "[of_vectors(kernel, tile), GatedVariant::Scalar]" => "[of_vectors(kernel, tile), GatedVariant::Stream]";
    }
    in "norm-host/src/plan.rs" by PLANS {
        "the last share's reciprocal is that of all": value "last_share_reciprocal: «1.0 / f64::from(last_share)»" => "1.0 / f64::from(share)";
        "each share's reciprocal is the last one's": value "                share_reciprocal: «1.0 / f64::from(share)»" => "1.0 / f64::from(last_share)";
    }
    in "norm-host/src/plan/gated.rs" by PLANS {
        "the last share's reciprocal is that of all, of gated rows": value "last_share_reciprocal: «1.0 / f64::from(last_share)»" => "1.0 / f64::from(share)";
    }
    in "norm-host/src/plan/alignment.rs" by PLANS {
        "one row of codes is held to its stride": value "let mut axes = norm.axes.iter().filter(|axis| «axis.extent > 1»);" => "axis.extent >= 1";
        "a copy of one row is held to its stride": value "if «norm.rows > 1» { normed.stride }" => "norm.rows >= 1";
    }
    in "norm-host/src/plan/tile.rs" by PLANS {
        "shared memory for an odd number of vectors": value "vectors.next_multiple_of(2) * self.threads" => "vectors * self.threads";
        "shared memory of one row of several": value "self.threads * «self.rows» * self.width * x.size() as u32" => "1";
        "more shared memory than there is": value "tile.shared_bytes(variant, x) <= profile.max_shared_bytes" => "tile.shared_bytes(variant, x) / 2 <= profile.max_shared_bytes";
        "a cluster larger than the device has": value "rule.blocks.min(profile.max_cluster)" => "rule.blocks.min(profile.max_cluster.max(2))";
    }
}
