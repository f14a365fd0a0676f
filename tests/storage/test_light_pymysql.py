import subprocess
import sys
import textwrap


def output_of(code: str) -> str:
    """Run code in a process of its own: what is imported there is nobody else's."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_mysql_is_imported_without_cryptography() -> None:
    assert output_of("import sys, storage.mysql; print('cryptography' in sys.modules)") == "False"


def test_a_password_is_encrypted_all_the_same_when_a_server_asks_for_it() -> None:
    decrypted = output_of(
        """
        import storage.mysql, pymysql
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.hazmat.primitives.asymmetric import padding, rsa
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        pem = key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        salt = bytes(20)  # zeros: the password is not changed by it
        for _ in range(2):
            encrypted = pymysql._auth.sha2_rsa_encrypt(b"secret", salt, pem)
            sha1 = hashes.SHA1()
            oaep = padding.OAEP(mgf=padding.MGF1(algorithm=sha1), algorithm=sha1, label=None)
            print(key.decrypt(encrypted, oaep))
        """
    )
    assert decrypted.splitlines() == [r"b'secret\x00'"] * 2
