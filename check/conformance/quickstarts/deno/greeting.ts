export const greeting: string = "hello from Deno, the first time\n";
