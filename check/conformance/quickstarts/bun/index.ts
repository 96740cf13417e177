const greeting: string = "hello from Bun, the first time\n";

Bun.serve({
  port: process.env.PORT ?? 3000,
  fetch: () => new Response(greeting),
});
