import { useLoaderData } from "@remix-run/react";

export function loader() {
  return { greeting: "hello from Remix, the first time" };
}

export default function Index() {
  return <p>{useLoaderData().greeting}</p>;
}
