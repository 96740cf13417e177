mod pump;
mod retention;
mod standby;
mod turn;
