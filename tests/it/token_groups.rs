//! Groups of tokens: cancelling the children, joining tokens, leaving a tree.
