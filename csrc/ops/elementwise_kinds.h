// Kinds that ops share. Plain data, no inline code.
#pragma once

namespace fd {

enum class PoolKind : int { max, mean };

}  // namespace fd
