mod authority;
mod resolver;
