import "./style.css";

export const metadata = { title: "Quick start", icons: "/icon.svg" };

export default function Layout({ children }) {
  return (
    <html lang="en">
      <body>{children}</body>
    </html>
  );
}
